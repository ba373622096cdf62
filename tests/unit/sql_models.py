from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()
USERS = sa.Table("users", METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("full_name", sa.Text))
