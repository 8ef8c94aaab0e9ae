"""The catalog in OpenSearch."""
