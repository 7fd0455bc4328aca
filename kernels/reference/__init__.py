"""Plain versions of every tile operation, obviously right, for the fast ones to be tested against.

Maps are channels-last ``(H, W, C)``; tiles ``(n, h, w, C)`` with first cells ``top``, ``left``.
"""
