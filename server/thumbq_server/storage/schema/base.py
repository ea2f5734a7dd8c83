"""What the descriptions of all tables share."""

from sqlalchemy import DateTime, MetaData, text

metadata = MetaData()

Timestamp = DateTime(timezone=True)
NOW = text("now()")
