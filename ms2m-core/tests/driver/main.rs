//! The driver in virtual time, over fakes that know the truth.

mod calls;
mod copy;
mod faults;
mod rounds;
mod sim;
