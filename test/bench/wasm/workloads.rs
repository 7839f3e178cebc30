//! Workloads of the metering bench in Rust: each export takes a number of rounds and returns a checksum.
#![crate_type = "cdylib"]

use std::collections::{BTreeMap, HashMap};

struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0
    }
}

#[no_mangle]
pub extern "C" fn sort(rounds: u32) -> u32 {
    let mut sum = 0u32;
    for round in 0..rounds {
        let mut random = Random(round + 1);
        let mut numbers: Vec<u32> = (0..20_000).map(|_| random.next()).collect();
        numbers.sort_unstable();
        sum = sum.wrapping_add(numbers[1000]).wrapping_add(numbers[19_000]);
    }
    sum
}

#[derive(Debug)]
enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn space(&mut self) {
        while self.at < self.text.len() && self.text[self.at].is_ascii_whitespace() {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Option<Json> {
        self.space();
        match *self.text.get(self.at)? {
            b'{' => self.object(),
            b'[' => self.list(),
            b'"' => self.text().map(Json::Text),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return None;
        }
        self.at += word.len();
        Some(value)
    }

    fn number(&mut self) -> Option<Json> {
        let start = self.at;
        while self.at < self.text.len() && matches!(self.text[self.at], b'0'..=b'9' | b'-' | b'+' | b'.' | b'e') {
            self.at += 1;
        }
        std::str::from_utf8(&self.text[start..self.at]).ok()?.parse().ok().map(Json::Number)
    }

    fn text(&mut self) -> Option<String> {
        self.at += 1;
        let mut found = String::new();
        loop {
            let byte = *self.text.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return Some(found),
                b'\\' => {
                    found.push(*self.text.get(self.at)? as char);
                    self.at += 1;
                }
                _ => found.push(byte as char),
            }
        }
    }

    fn list(&mut self) -> Option<Json> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.space();
            if self.text.get(self.at) == Some(&b']') {
                self.at += 1;
                return Some(Json::List(items));
            }
            items.push(self.value()?);
            self.space();
            if self.text.get(self.at) == Some(&b',') {
                self.at += 1;
            }
        }
    }

    fn object(&mut self) -> Option<Json> {
        self.at += 1;
        let mut fields = BTreeMap::new();
        loop {
            self.space();
            if self.text.get(self.at) == Some(&b'}') {
                self.at += 1;
                return Some(Json::Object(fields));
            }
            let name = self.text()?;
            self.space();
            self.at += 1;
            fields.insert(name, self.value()?);
            self.space();
            if self.text.get(self.at) == Some(&b',') {
                self.at += 1;
            }
        }
    }
}

fn weigh(value: &Json) -> u32 {
    match value {
        Json::Null => 1,
        Json::Bool(yes) => *yes as u32,
        Json::Number(number) => *number as u32,
        Json::Text(text) => text.len() as u32,
        Json::List(items) => items.iter().map(weigh).fold(0, u32::wrapping_add),
        Json::Object(fields) => fields.iter().map(|(name, value)| weigh(value) ^ name.len() as u32).fold(0, u32::wrapping_add),
    }
}

#[no_mangle]
pub extern "C" fn json(rounds: u32) -> u32 {
    let record = r#"{"id": 12345, "name": "metered \"module\"", "tags": ["a", "bc", "def"], "on": true, "off": null, "at": -1.5e3, "inner": {"x": 1, "y": [1, 2, 3, [4, 5]]}}"#;
    let text = format!("[{}]", vec![record; 50].join(", "));
    let mut sum = 0u32;
    for _ in 0..rounds {
        let value = Parser { text: text.as_bytes(), at: 0 }.value();
        sum = sum.wrapping_add(value.map_or(0, |value| weigh(&value)));
    }
    sum
}

#[no_mangle]
pub extern "C" fn matrix(rounds: u32) -> f64 {
    const SIZE: usize = 96;
    let a: Vec<f64> = (0..SIZE * SIZE).map(|i| (i % 17) as f64 * 0.5).collect();
    let mut b: Vec<f64> = (0..SIZE * SIZE).map(|i| (i % 13) as f64 * 0.25).collect();
    for _ in 0..rounds {
        let mut product = vec![0.0; SIZE * SIZE];
        for row in 0..SIZE {
            for k in 0..SIZE {
                let factor = a[row * SIZE + k];
                for column in 0..SIZE {
                    product[row * SIZE + column] += factor * b[k * SIZE + column];
                }
            }
        }
        for (to, from) in b.iter_mut().zip(&product) {
            *to = from % 7.0;
        }
    }
    b.iter().sum()
}

#[no_mangle]
pub extern "C" fn words(rounds: u32) -> u32 {
    let text = "fuel is paid per block and a block is paid at once so that a loop that never ends ends when the fuel does ";
    let mut sum = 0u32;
    for _ in 0..rounds {
        let mut counts: HashMap<String, u32> = HashMap::new();
        for word in text.repeat(20).split(' ') {
            *counts.entry(word.to_uppercase()).or_default() += 1;
        }
        sum = sum.wrapping_add(counts.values().map(|count| count * count).sum::<u32>());
    }
    sum
}
