//! Prints the instruction sets that this CPU has, the slowest first.

use mobileight_kernels::InstructionSet;

fn main() {
    let sets = InstructionSet::ALL.into_iter().filter(|set| set.is_available());
    let names: Vec<&str> = sets.map(InstructionSet::name).collect();
    println!("{}", names.join(" "));
}
