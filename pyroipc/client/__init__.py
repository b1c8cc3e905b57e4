"""The calling side: sessions, which many threads share, and proxies, which users hold."""
