"""What people read: pages with everything in them, readable offline."""
