//! What users see, side by side on one cluster: each story in a namespace of its own.

mod broker;
mod cache;
mod causes;
mod database;
mod edits;
mod external;
mod faults;
mod hello;
mod releases;
mod repair;
mod rest;
mod tier;
mod tiers;
mod workers;
