//! Load generator. 
fn main() {}
