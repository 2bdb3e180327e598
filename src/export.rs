//! A backup in other forms, for other tools and other places.
