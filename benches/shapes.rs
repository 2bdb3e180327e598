//! Databases of known shape. Each is made once and kept; an unfinished one is made anew.

use std::fs;
use std::mem::ManuallyDrop;

use crate::bench::{Service, docker, dokku, world};

/// A service that stays when the bench ends.
pub type Kept = ManuallyDrop<Service>;

fn kept(name: &str, major: u32, fill: impl FnOnce(&Service)) -> Kept {
    let service = ManuallyDrop::new(Service { name: format!("bench-{name}-{major}") });
    let built = world().join(format!("{}.built", service.name));
    if built.exists() && service.root().is_dir() {
        if docker(&["inspect", "--format", "{{.State.Running}}", &service.container()]).stdout.trim()
            != "true"
        {
            dokku(&["postgres:start", &service.name]).ok();
        }
        return service;
    }
    println!("       building {}", service.name);
    if service.root().is_dir() {
        dokku(&["--force", "postgres:destroy", &service.name]).ok();
    }
    dokku(&["postgres:create", &service.name, "--image-version", &major.to_string()]).ok();
    fill(&service);
    // Parallel workers would want more shared memory than a container has.
    service.sql("vacuum (analyze, parallel 0)");
    fs::write(built, "").unwrap();
    service
}

/// `pgbench` and a table of jsonb, with what people write in it, and a GIN index: about 1.5 GB.
pub fn mixed(major: u32) -> Kept {
    kept("mixed", major, fill_mixed)
}

/// The same to be changed by `pgbench`, which the other one must not be.
pub fn busy() -> Kept {
    kept("busy", 17, fill_mixed)
}

fn fill_mixed(service: &Service) {
    let database = service.database();
    docker(&["exec", &service.container(), "pgbench", "-q", "-i", "-s", "60", "-U", "postgres", &database])
        .ok();
    service.sql(
            "create function note(n bigint) returns text language sql immutable as $$
  select string_agg((array['the','cow','gave','milk','today','again','near','barn','north','gate','was','open','all','night','farmer',
    'came','late','with','feed','hay','water','trough','broken','fence','mended','calf','born','healthy','vet','called','morning',
    'evening'])[1 + get_byte(bytes, k) % 32], ' ')
  from (select decode(md5(n::text), 'hex') as bytes) x, generate_series(0, 13) k $$;
create table events (id bigserial primary key, at timestamptz not null, kind text not null, body jsonb not null);
insert into events (at, kind, body)
  select '2026-01-01'::timestamptz + n * interval '7 seconds', (array['milk','feed','walk','sleep'])[1 + n % 4],
    jsonb_build_object('cow', n % 4000, 'farm', n % 97, 'note', note(n), 'tags', jsonb_build_array(n % 7, n % 11))
  from generate_series(1, 1500000) n;
create index on events (at);
create index on events using gin (body);",
        );
}

/// Small tables, ten rows each.
fn tables(name: &str, count: u32) -> Kept {
    kept(name, 17, |service| {
        service.sql(&format!(
            "select format('create table t%s (id int primary key, name text not null);
insert into t%1$s select n, md5(n::text) from generate_series(1, 10) n', i) from generate_series(1, {count}) i \\gexec"
        ));
    })
}

pub fn few_hundred_tables() -> Kept {
    tables("500-tables", 500)
}

pub fn thousands_of_tables() -> Kept {
    tables("5000-tables", 5000)
}

pub fn empty() -> Kept {
    kept("empty", 17, |_| {})
}

/// One table of 3 GB.
pub fn one_table() -> Kept {
    kept("one-table", 17, |service| {
        service.sql(
            "create table big as select n as id, md5(n::text) || md5((n + 1)::text) || md5((n + 2)::text) as a,
  repeat(md5((n % 1000)::text), 3) as b, n * 1.5 as c from generate_series(1, 12000000) n",
        );
    })
}

/// A hundred tables of 15 MB, so that one of them is one in a hundred.
pub fn hundred_tables() -> Kept {
    kept("100-tables", 17, |service| {
        service.sql(
            "select format('create table t%s as select n as id, md5((n * %1$s)::text) as a, md5((n + %1$s)::text) as b
  from generate_series(1, 120000) n', i) from generate_series(1, 100) i \\gexec",
        );
    })
}
