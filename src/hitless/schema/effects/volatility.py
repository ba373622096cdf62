"""Whether an expression gives each row another value: only then must a default be written into every row.

A default that is volatile is computed for each row (PostgreSQL, "ALTER TABLE", notes). `now()` is stable: it is
computed once. What is not known here, and not defined in the files, is taken for volatile: a rewrite that
nobody foresaw is worse than a warning too many.
"""

from __future__ import annotations

from hitless.schema.actions.values import Expression
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.names import Name

VOLATILE = frozenset(
    """
    random random_normal clock_timestamp timeofday nextval setval currval lastval gen_random_uuid uuidv4 uuidv7
    uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4 gen_random_bytes gen_salt setseed pg_sleep
    """.split()
)
"""Of PostgreSQL and its usual extensions."""

NOT_VOLATILE = frozenset(
    """
    now current_date current_user session_user transaction_timestamp statement_timestamp current_setting
    current_database current_schema pg_backend_pid txid_current pg_current_xact_id version
    lower upper initcap length char_length octet_length substr substring left right trim btrim ltrim rtrim lpad rpad
    replace translate concat concat_ws format repeat reverse split_part strpos position md5 sha256 encode decode to_char
    to_date to_number to_timestamp to_tsvector to_json to_jsonb date_trunc date_part extract make_date make_timestamp
    make_timestamptz make_interval age timezone justify_days abs ceil ceiling floor round trunc mod power sqrt sign
    greatest least coalesce nullif array_append array_prepend array_cat array_length cardinality array_to_string
    string_to_array json_build_object json_build_array jsonb_build_object jsonb_build_array row_to_json
    int4range int8range numrange tsrange tstzrange daterange uuid_nil uuid_ns_dns uuid_generate_v3 uuid_generate_v5
    """.split()
)


def is_volatile(expression: Expression, catalog: Catalog) -> bool:
    """Tell whether an expression is volatile, or may be."""
    return any(_is_volatile(name, catalog) for name in expression.functions)


def _is_volatile(name: Name, catalog: Catalog) -> bool:
    defined = catalog.functions.get(name.within(catalog.search_path[0]))
    if defined is not None:
        return defined == "volatile"
    return name.name not in NOT_VOLATILE


def is_surely_volatile(expression: Expression) -> bool:
    """Tell whether an expression calls what is known to be volatile."""
    return any(name.name in VOLATILE for name in expression.functions)
