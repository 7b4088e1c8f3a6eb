//! CRIU's image files, as far as they are looked into.
