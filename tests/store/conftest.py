from tests.databases import postgres_server, records, url

__all__ = ["postgres_server", "records", "url"]
