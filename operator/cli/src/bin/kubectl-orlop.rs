//! `kubectl orlop`: kubectl finds its plugins by this name.

fn main() -> std::process::ExitCode {
    orlop_cli::main("kubectl orlop")
}
