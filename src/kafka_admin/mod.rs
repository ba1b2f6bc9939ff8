//! Everyday chores on a cluster, and the embedded broker.
