use pellucid::model::*; use std::time::Instant;
fn cpu()->f64{ let mut r:libc::rusage=unsafe{std::mem::zeroed()}; unsafe{libc::getrusage(libc::RUSAGE_SELF,&mut r)}; (r.ru_utime.tv_sec+r.ru_stime.tv_sec) as f64+(r.ru_utime.tv_usec+r.ru_stime.tv_usec) as f64*1e-6 }
fn main()->pellucid::Result<()>{ pellucid::ops::memory::keep_freed_pages(); let n:usize=std::env::args().nth(1).unwrap().parse().unwrap(); let reps:usize=std::env::args().nth(2).unwrap().parse().unwrap();
 let m=Model::load("target/tmp/speed/gpt2-small-random".as_ref())?;
 let b=Batch::one((0..n).map(|i|((i*7919+17)%50257) as u32).collect::<Vec<_>>());
 for _ in 0..2 {m.forward(&b,&mut [])?;}
 let mut best=1e9f64; let mut bc=1e9f64; let mut all=vec![];
 for _ in 0..reps { let c=cpu(); let s=Instant::now(); m.forward(&b,&mut [])?; let e=s.elapsed().as_secs_f64(); let cc=cpu()-c; bc=bc.min(cc); best=best.min(e); all.push(e);} all.sort_by(|a,b|a.total_cmp(b)); println!("{n}: cpu {bc:.4} min {best:.4} median {:.4}",all[reps/2]); Ok(()) }
