//! Both designs, with the real servers. Where one of these is not installed, the tests that need it say so
//! and pass.

mod broken_connections;
mod calls;
mod common;
mod crash;
mod load;
mod refusals;
mod restart;
