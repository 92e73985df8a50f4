//! The runtimes as processes beside the cluster, with the data services that the operator made.

mod worker;
