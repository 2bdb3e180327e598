//! Making a backup of what others made.
