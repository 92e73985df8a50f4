//! `orlop`.

fn main() -> std::process::ExitCode {
    orlop_cli::main("orlop")
}
