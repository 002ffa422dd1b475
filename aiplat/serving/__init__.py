"""The HTTP product: a plain ASGI app over models that can be asked."""
