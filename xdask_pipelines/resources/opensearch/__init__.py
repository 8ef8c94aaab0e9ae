"""The trial node of OpenSearch: its jars, its data, its process."""
