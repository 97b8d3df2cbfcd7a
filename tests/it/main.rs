//! The one integration binary; a file per topic.

mod config_cases;
mod damaged_files;
mod policy_cases;
mod table_cases;
