"""Where releases are brought: one module a target, behind one port."""
