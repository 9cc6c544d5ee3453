"""One process, one JSON GET: eggycore beside bare aiohttp and beside other frameworks."""
