"""Statement text -> digest -> cached route.

    Router.route(sql) -> Route     what the text is (flags), which tables it reads and writes (slots), hints

The dialect digests and analyses; the router caches, applies hints and forgets everything when the facts change.
"""
