"""The local OpenSearch node: its jars, its data, its process."""
