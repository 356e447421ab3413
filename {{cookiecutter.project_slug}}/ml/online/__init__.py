"""The online store: what is known of each entity now, for those who serve; behind one port, LMDB or Redis."""
