//! The driver in virtual time, over fakes that know the truth.

mod calls;
mod faults;
mod sim;
