"""The only code that knows file formats; every reader is strict and every writer keeps bytes."""
