//! Rows of figures, taken in turns, with their medians.

use std::fmt::Write;

/// One row: what it is about, and for each turn a figure a column.
pub struct Row {
    pub name: String,
    pub turns: Vec<Vec<f64>>,
}

/// Figures that belong together.
pub struct Table {
    pub title: String,
    /// With their units.
    pub columns: Vec<&'static str>,
    pub rows: Vec<Row>,
}

/// Someone who is measured: its name, and one turn of it.
pub struct Side<'s> {
    pub name: String,
    pub turn: Box<dyn FnMut() -> Vec<f64> + 's>,
}

impl<'s> Side<'s> {
    pub fn new(name: impl Into<String>, turn: impl FnMut() -> Vec<f64> + 's) -> Self {
        Self { name: name.into(), turn: Box::new(turn) }
    }
}

impl Table {
    /// Measures all sides in turns, so that drift hits them alike; who goes first changes with every turn.
    pub fn in_turns(title: &str, columns: &[&'static str], turns: usize, mut sides: Vec<Side<'_>>) -> Self {
        let mut rows: Vec<Row> =
            sides.iter().map(|side| Row { name: side.name.clone(), turns: Vec::new() }).collect();
        for turn in 0..turns {
            for at in 0..sides.len() {
                let at = (turn + at) % sides.len();
                let figures = (sides[at].turn)();
                eprintln!("  {title}, turn {}: {} {}", turn + 1, sides[at].name, cells(&figures).join(" "));
                rows[at].turns.push(figures);
            }
        }
        let table = Self { title: title.to_owned(), columns: columns.to_vec(), rows };
        println!("{}", table.markdown());
        table
    }

    /// The medians.
    pub fn markdown(&self) -> String {
        let mut text = format!("| {} | {} |\n|---|", self.title, self.columns.join(" | "));
        text.push_str(&"---:|".repeat(self.columns.len()));
        for row in &self.rows {
            let medians: Vec<f64> = (0..self.columns.len()).map(|column| row.median(column)).collect();
            write!(text, "\n| {} | {} |", row.name, cells(&medians).join(" | ")).unwrap();
        }
        text
    }

    /// Every turn, one a line.
    pub fn raw(&self) -> String {
        let mut text = format!("{}: {}", self.title, self.columns.join(", "));
        for row in &self.rows {
            for figures in &row.turns {
                write!(text, "\n  {}: {}", row.name, cells(figures).join(", ")).unwrap();
            }
        }
        text
    }

    /// Nothing when it was not measured.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name).filter(|row| !row.turns.is_empty())
    }

    /// The median over the turns of what the first row is to the second one.
    pub fn ratio(&self, name: &str, to: &str, column: usize) -> Option<f64> {
        let (row, to) = (self.row(name)?, self.row(to)?);
        let ratios = row.turns.iter().zip(&to.turns).map(|(row, to)| row[column] / to[column]);
        Some(median(ratios.collect()))
    }
}

impl Row {
    pub fn median(&self, column: usize) -> f64 {
        median(self.turns.iter().map(|figures| figures[column]).collect())
    }
}

/// The one in the middle; of an even number the lower one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

fn cells(figures: &[f64]) -> Vec<String> {
    figures.iter().map(|figure| cell(*figure)).collect()
}

/// Three digits, thousands apart; a dash for what was not measured.
pub fn cell(figure: f64) -> String {
    match figure {
        figure if !figure.is_finite() => "–".to_owned(),
        0.0 => "0".to_owned(),
        figure if figure < 10.0 => format!("{figure:.2}"),
        figure if figure < 100.0 => format!("{figure:.1}"),
        figure => {
            let digits = format!("{figure:.0}");
            let groups = digits.as_bytes().rchunks(3).rev();
            let groups: Vec<&str> = groups.map(|group| std::str::from_utf8(group).unwrap()).collect();
            groups.join(",")
        }
    }
}
