"""What hangs on a table, read from the catalogue of a live database in one statement.

Text in the search path is written short; with an empty one everything carries its schema, so that two readings say the
same in whatever session they are made.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from hitless.schema.change.fingerprint import Fingerprint, Hanging
from hitless.schema.names import Name

_RELATIONS = """
WITH RECURSIVE whole AS (
    SELECT %(table)s::oid::oid AS oid
    UNION SELECT inhrelid FROM pg_inherits JOIN whole ON inhparent = whole.oid
), reading AS (
    SELECT oid, false AS is_view FROM whole
    UNION SELECT ev_class, true FROM reading
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = reading.oid
    JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    JOIN pg_class v ON v.oid = ev_class AND v.relkind IN ('v', 'm')
    WHERE ev_class <> reading.oid
), relations AS (
    SELECT c.*, is_view, format('%%I.%%I', nspname, relname) AS shown
    FROM reading JOIN pg_class c ON c.oid = reading.oid JOIN pg_namespace n ON n.oid = relnamespace
), drawn AS (
    SELECT d.objid AS oid, quote_ident(attname) AS owned_by
    FROM whole JOIN pg_depend d ON d.refobjid = whole.oid AND d.refobjsubid > 0
    JOIN pg_attribute a ON attrelid = whole.oid AND attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    UNION SELECT d.refobjid, NULL
    FROM whole JOIN pg_attrdef f ON adrelid = whole.oid
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
)
"""
_GRANTS = """
(SELECT string_agg(format('%%s=%%s%%s', CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
                          privilege_type, CASE WHEN is_grantable THEN '*' END), ', '
                   ORDER BY grantee::regrole::text, privilege_type)
 FROM aclexplode({acl}))
"""
_COLUMNS_OF = """
(SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname) FROM pg_attribute
 WHERE attrelid = {relation} AND attnum = ANY ({numbers}::int2[]))
"""

_QUERIES = (
    """
    SELECT 'relation', shown, shown, jsonb_build_object(
        'kind', relkind, 'owner', relowner::regrole::text, 'persistence', relpersistence,
        'access_method', (SELECT amname FROM pg_am WHERE pg_am.oid = relam),
        'tablespace', (SELECT spcname FROM pg_tablespace s WHERE s.oid = reltablespace),
        'options', array_to_string(reloptions, ', '),
        'toast_options', (SELECT array_to_string(t.reloptions, ', ') FROM pg_class t WHERE t.oid = r.reltoastrelid),
        'row_security', relrowsecurity::text, 'forced_row_security', relforcerowsecurity::text,
        'replica_identity', relreplident, 'is_populated', relispopulated::text,
        'partition_bound', pg_get_expr(relpartbound, r.oid), 'partition_key', pg_get_partkeydef(r.oid),
        'parents', (SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits
                    WHERE inhrelid = r.oid),
        'definition', CASE WHEN is_view THEN pg_get_viewdef(r.oid) END,
        'privileges', {relation_grants}, 'comment', obj_description(r.oid, 'pg_class'))
    FROM relations r
    """,
    """
    SELECT CASE WHEN is_view THEN 'view column' ELSE 'column' END, shown, quote_ident(attname), jsonb_build_object(
        'type', format_type(atttypid, atttypmod),
        'collation', (SELECT format('%%I.%%I', nspname, collname) FROM pg_collation l
                      JOIN pg_namespace n ON n.oid = collnamespace WHERE l.oid = attcollation),
        'default', (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum),
        'identity', nullif(attidentity, ''), 'generated', nullif(attgenerated, ''),
        'is_not_null', attnotnull::text, 'statistics', nullif(attstattarget, -1)::text,
        'storage', CASE WHEN attstorage <> typstorage THEN attstorage END, 'compression', nullif(attcompression, ''),
        'options', array_to_string(attoptions, ', '), 'is_local', attislocal::text, 'parents', attinhcount::text,
        'privileges', {column_grants}, 'comment', col_description(r.oid, attnum))
    FROM relations r JOIN pg_attribute ON attrelid = r.oid JOIN pg_type t ON t.oid = atttypid
    WHERE attnum > 0 AND NOT attisdropped
    """,
    """
    SELECT 'index', shown, coalesce('part of ' || (SELECT inhparent::regclass::text FROM pg_inherits
                                                   WHERE inhrelid = x.oid), format('%%I.%%I', n.nspname, x.relname)),
        jsonb_build_object(
        'definition', replace(pg_get_indexdef(x.oid), format(' %%I ON ', x.relname), ' ON '),
        'is_valid', indisvalid::text, 'is_ready', indisready::text,
        'is_clustered', indisclustered::text, 'is_replica_identity', indisreplident::text,
        'tablespace', (SELECT spcname FROM pg_tablespace s WHERE s.oid = x.reltablespace),
        'statistics', (SELECT string_agg(format('%%s: %%s', attnum, attstattarget), ', ') FROM pg_attribute
                       WHERE attrelid = x.oid AND attstattarget >= 0),
        'comment', obj_description(x.oid, 'pg_class'))
    FROM relations r JOIN pg_index ON indrelid = r.oid JOIN pg_class x ON x.oid = indexrelid
    JOIN pg_namespace n ON n.oid = x.relnamespace
    """,
    """
    SELECT 'constraint', conrelid::regclass::text,
        coalesce((SELECT format('part of %%I', p.conname) FROM pg_constraint p WHERE p.oid = c.conparentid),
                 quote_ident(conname)), jsonb_build_object(
        'definition', regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', ''), 'is_valid', convalidated::text,
        'is_local', conislocal::text, 'parents', coninhcount::text,
        'triggers', (SELECT string_agg(DISTINCT tgenabled::text, '') FROM pg_trigger WHERE tgconstraint = c.oid),
        'comment', obj_description(c.oid, 'pg_constraint'))
    FROM pg_constraint c
    WHERE (conrelid IN (SELECT oid FROM whole) OR confrelid IN (SELECT oid FROM whole))
      AND (contype IN ('c', 'p', 'u', 'x') OR contype = 'f' AND conparentid = 0)
    """,
    """
    SELECT 'trigger', shown, quote_ident(tgname), jsonb_build_object(
        'definition', pg_get_triggerdef(t.oid), 'is_enabled', tgenabled,
        'comment', obj_description(t.oid, 'pg_trigger'))
    FROM relations r JOIN pg_trigger t ON tgrelid = r.oid WHERE NOT tgisinternal
    """,
    """
    SELECT 'policy', shown, quote_ident(polname), jsonb_build_object(
        'command', polcmd, 'is_permissive', polpermissive::text,
        'roles', (SELECT string_agg(CASE one WHEN 0 THEN 'PUBLIC' ELSE one::regrole::text END, ', ' ORDER BY one)
                  FROM unnest(polroles) one),
        'using', pg_get_expr(polqual, polrelid), 'with_check', pg_get_expr(polwithcheck, polrelid),
        'comment', obj_description(p.oid, 'pg_policy'))
    FROM relations r JOIN pg_policy p ON polrelid = r.oid
    """,
    """
    SELECT 'rule', shown, quote_ident(rulename), jsonb_build_object(
        'definition', pg_get_ruledef(w.oid), 'is_enabled', ev_enabled, 'comment', obj_description(w.oid, 'pg_rewrite'))
    FROM relations r JOIN pg_rewrite w ON ev_class = r.oid WHERE rulename <> '_RETURN'
    """,
    """
    SELECT 'statistics', shown, format('%%I.%%I', nspname, stxname), jsonb_build_object(
        'definition', pg_get_statisticsobjdef(s.oid), 'owner', stxowner::regrole::text,
        'target', nullif(stxstattarget, -1)::text, 'comment', obj_description(s.oid, 'pg_statistic_ext'))
    FROM relations r JOIN pg_statistic_ext s ON stxrelid = r.oid JOIN pg_namespace n ON n.oid = stxnamespace
    """,
    """
    SELECT 'publication', shown, quote_ident(pubname), jsonb_build_object(
        'definition', pg_get_expr(prqual, prrelid), 'columns', {published})
    FROM relations r JOIN pg_publication_rel ON prrelid = r.oid JOIN pg_publication p ON p.oid = prpubid
    """,
    """
    SELECT 'sequence', (SELECT shown FROM relations WHERE NOT is_view ORDER BY oid = %(table)s::oid DESC LIMIT 1),
        format('%%I.%%I', nspname, relname), jsonb_build_object(
        'owned_by', max(owned_by), 'type', max(format_type(seqtypid, NULL)), 'start', max(seqstart)::text,
        'step', max(seqincrement)::text, 'least', max(seqmin)::text, 'greatest', max(seqmax)::text,
        'cache', max(seqcache)::text, 'cycles', bool_or(seqcycle)::text, 'owner', max(relowner::regrole::text),
        'persistence', max(relpersistence::text), 'last_value', max(pg_sequence_last_value(s.oid))::text,
        'privileges', max({sequence_grants}), 'comment', max(obj_description(s.oid, 'pg_class')))
    FROM drawn JOIN pg_class s ON s.oid = drawn.oid JOIN pg_sequence ON seqrelid = s.oid
    JOIN pg_namespace n ON n.oid = relnamespace GROUP BY nspname, relname
    """,
    """
    SELECT DISTINCT 'function', (SELECT shown FROM relations WHERE oid = %(table)s::oid),
        p.oid::regprocedure::text, jsonb_build_object('definition', pg_get_function_sqlbody(p.oid))
    FROM whole JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND refobjid = whole.oid
    JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
    """,
)

_QUERY = _RELATIONS + " UNION ALL ".join(f"({one})" for one in _QUERIES).format(
    relation_grants=_GRANTS.format(acl="coalesce(relacl, acldefault('r', relowner))"),
    column_grants=_GRANTS.format(acl="attacl"),
    sequence_grants=_GRANTS.format(acl="coalesce(relacl, acldefault('s', relowner))"),
    published=_COLUMNS_OF.format(relation="prrelid", numbers="prattrs"),
)


def read_fingerprint(connection: psycopg.Connection, table: Name) -> Fingerprint:
    """Read what hangs on a table, on its parts, and on views that read it; nothing where it is not there.

    Reads the catalogue alone, in the open transaction or one of its own. In a transaction it leaves the search path
    empty until the end: statements that follow must name schemas, as ours do.

    Raises:
        psycopg.Error: the server refuses.
    """
    with connection.transaction():
        was = connection.execute(
            "SELECT current_setting('search_path'), to_regclass(%s)::oid", (str(table),)
        ).fetchone()
        if was is None or was[1] is None:
            return ()
        connection.execute("SET LOCAL search_path = ''")
        rows = connection.execute(_QUERY.encode(), {"table": was[1]}).fetchall()
        connection.execute("SELECT set_config('search_path', %s, true)", (was[0],))
    return tuple(
        Hanging(kind=kind, on=on, name=name, facets=facets) for kind, on, name, facets in sorted(rows, key=_order)
    )


def _order(row: tuple[str, str, str, Mapping[str, str | None]]) -> tuple[str, str, str]:
    return row[:3]
