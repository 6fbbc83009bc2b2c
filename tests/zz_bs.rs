use meridian::simulation::scenario::Scenario;
use meridian::simulation::{Options, run};
use std::path::Path;
#[test]
fn many() {
    let name = std::env::var("SC").unwrap_or("smoke.toml".into());
    let from: u64 = std::env::var("FROM").unwrap_or("0".into()).parse().unwrap();
    let n: u64 = std::env::var("N").unwrap_or("50".into()).parse().unwrap();
    let s = Scenario::load(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("simulations")
            .join(name),
    )
    .unwrap();
    let mut bad = 0;
    let mut lost = 0;
    for seed in from..from + n {
        let (mut gone, mut parts, mut reborn, mut disk, mut put_back, mut last) =
            (0, 0, 0, 0, 0, 0);
        let mut t = |line: String| {
            if std::env::var("TRACE").is_ok() {
                println!("{line}");
            }
            gone += line.contains(" is gone") as u32;
            parts += line.contains(": part of ") as u32;
            last += line.contains("last true") as u32;
            reborn += line.contains("is reborn") as u32;
            disk += line.contains("put back false") as u32;
            put_back += line.contains("put back true") as u32;
        };
        let r = run(
            &s,
            seed,
            Options {
                trace: Some(&mut t),
                ..Options::default()
            },
        );
        println!(
            "seed {seed}: gone {gone} parts {parts} last {last} reborn {reborn} lost {disk} back {put_back} conv {:?} c {}",
            r.converged_us, r.conflicts
        );
        lost += r.lost;
        for v in r.violations.iter().take(1) {
            println!("SEED {seed}: {v}");
            bad += 1;
        }
    }
    println!("bad {bad} of {n}, lost {lost}");
}
