//! The one integration binary; a file per topic.

mod config_cases;
mod damaged_files;
mod hostname;
mod policy_cases;
mod table_cases;
