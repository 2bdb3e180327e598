//! The table of what was measured, beside what was aimed at.

use crate::timing::Samples;

/// At most or at least that much.
#[derive(Debug, Clone, Copy)]
pub enum Aim {
    AtMost(f64),
    AtLeast(f64),
    /// Only told.
    None,
}

impl Aim {
    fn verdict(self, value: f64) -> &'static str {
        match self {
            Aim::AtMost(limit) if value <= limit => "met",
            Aim::AtLeast(limit) if value >= limit => "met",
            Aim::None => "",
            _ => "missed",
        }
    }

    fn words(self, unit: &str) -> String {
        match self {
            Aim::AtMost(limit) => format!("at most {limit}{unit}"),
            Aim::AtLeast(limit) => format!("at least {limit}{unit}"),
            Aim::None => "–".to_owned(),
        }
    }
}

#[derive(Debug)]
struct Row([String; 7]);

#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

const HEADS: [&str; 7] = ["job", "pgbackup", "against", "theirs", "result", "aim", ""];

impl Table {
    /// Ours as so many times theirs.
    pub fn ratio(&mut self, job: &str, ours: &Samples, (against, theirs): (&str, &Samples), aim: Aim) {
        let value = ours.median() / theirs.median();
        self.add(job, &ours.to_string(), (against, &theirs.to_string()), (value, " times"), aim);
    }

    /// How many times theirs is ours: for what is to be quicker.
    pub fn speedup(&mut self, job: &str, ours: &Samples, (against, theirs): (&str, &Samples), aim: Aim) {
        let value = theirs.median() / ours.median();
        self.add(job, &ours.to_string(), (against, &theirs.to_string()), (value, " times as fast"), aim);
    }

    /// How much more ours is, in milliseconds.
    pub fn difference(&mut self, job: &str, ours: &Samples, (against, theirs): (&str, &Samples), aim: Aim) {
        let value = (ours.median() - theirs.median()) * 1e3;
        self.add(job, &ours.to_string(), (against, &theirs.to_string()), (value, " ms more"), aim);
    }

    /// Anything else.
    pub fn add(
        &mut self,
        job: &str,
        ours: &str,
        (against, theirs): (&str, &str),
        (value, unit): (f64, &str),
        aim: Aim,
    ) {
        let value_text = if value >= 20.0 { format!("{value:.0}") } else { format!("{value:.2}") };
        let result = format!("{value_text}{unit}");
        println!("       {job}: {ours}, {against}: {theirs}: {result} {}", aim.verdict(value));
        self.rows.push(Row([
            job.to_owned(),
            ours.to_owned(),
            against.to_owned(),
            theirs.to_owned(),
            result,
            aim.words(unit),
            aim.verdict(value).to_owned(),
        ]));
    }

    /// In columns.
    pub fn plain(&self) -> String {
        let heads = HEADS.map(str::to_owned);
        let all: Vec<&[String; 7]> =
            std::iter::once(&heads).chain(self.rows.iter().map(|row| &row.0)).collect();
        let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
        let line = |row: &&[String; 7]| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        all.iter().map(line).collect()
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String; 7]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&HEADS.map(str::to_owned));
        text.push_str("|---|---|---|---|---|---|---|\n");
        self.rows.iter().for_each(|row| text.push_str(&line(&row.0)));
        text
    }
}
