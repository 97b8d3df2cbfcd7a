//! One integration binary; each module is a topic.

mod decide_oracle;
