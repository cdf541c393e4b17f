//! A unified diff with three lines of context, as Python's `difflib` and its Go port make it: blocks are found by the longest
//! run of equal lines, again and again to its left and right, so that messages have the very hunks that upstream's have.

use std::{collections::HashMap, fmt::Write as _, ops::Range};

const CONTEXT: usize = 3;
/// From so many lines on, lines that make up more than one in a hundred are not looked for.
const POPULAR_FROM: usize = 200;

/// The hunks between two texts; empty if they are equal.
pub(super) fn unified(old: &str, new: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let mut out = String::new();
    for hunk in hunks(&a, &b) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else {
            continue;
        };
        let _ = writeln!(
            out,
            "@@ -{} +{} @@",
            range(first.old.start..last.old.end),
            range(first.new.start..last.new.end)
        );
        for op in &hunk {
            if op.equal {
                lines(&mut out, ' ', &a[op.old.clone()]);
            } else {
                lines(&mut out, '-', &a[op.old.clone()]);
                lines(&mut out, '+', &b[op.new.clone()]);
            }
        }
    }
    out
}

fn lines(out: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        out.push(mark);
        out.push_str(line);
        out.push('\n');
    }
}

/// Lines are counted from one; of an empty range the line before it is named.
fn range(lines: Range<usize>) -> String {
    match lines.len() {
        1 => (lines.start + 1).to_string(),
        0 => format!("{},0", lines.start),
        length => format!("{},{length}", lines.start + 1),
    }
}

/// A stretch of lines that are equal, or stand for each other.
#[derive(Clone, Debug)]
struct Op {
    equal: bool,
    old: Range<usize>,
    new: Range<usize>,
}

/// What changes, with its context; changes that are close share a hunk.
fn hunks(a: &[&str], b: &[&str]) -> Vec<Vec<Op>> {
    let mut ops = operations(a, b);
    if ops.iter().all(|op| op.equal) {
        return Vec::new();
    }
    if let Some(first) = ops.first_mut().filter(|op| op.equal) {
        let cut = first.old.len().saturating_sub(CONTEXT);
        first.old.start += cut;
        first.new.start += cut;
    }
    if let Some(last) = ops.last_mut().filter(|op| op.equal) {
        let cut = last.old.len().saturating_sub(CONTEXT);
        last.old.end -= cut;
        last.new.end -= cut;
    }
    let mut hunks = vec![Vec::new()];
    for op in ops {
        if op.equal && op.old.len() > 2 * CONTEXT {
            let mut end = op.clone();
            end.old.end = end.old.start + CONTEXT;
            end.new.end = end.new.start + CONTEXT;
            let mut start = op;
            start.old.start = start.old.end - CONTEXT;
            start.new.start = start.new.end - CONTEXT;
            if let Some(hunk) = hunks.last_mut() {
                hunk.push(end);
            }
            hunks.push(vec![start]);
        } else if let Some(hunk) = hunks.last_mut() {
            hunk.push(op);
        }
    }
    hunks.retain(|hunk| hunk.iter().any(|op| !op.equal));
    hunks
}

fn operations(a: &[&str], b: &[&str]) -> Vec<Op> {
    let mut blocks = Vec::new();
    matching(a, b, &positions(b), 0..a.len(), 0..b.len(), &mut blocks);
    blocks.push((a.len(), b.len(), 0));
    let (mut i, mut j) = (0, 0);
    let mut ops: Vec<Op> = Vec::new();
    for (start_a, start_b, length) in blocks {
        if i < start_a || j < start_b {
            ops.push(Op {
                equal: false,
                old: i..start_a,
                new: j..start_b,
            });
        }
        (i, j) = (start_a + length, start_b + length);
        if length > 0 {
            match ops.last_mut().filter(|op| op.equal) {
                Some(last) => (last.old.end, last.new.end) = (i, j),
                None => ops.push(Op {
                    equal: true,
                    old: start_a..i,
                    new: start_b..j,
                }),
            }
        }
    }
    ops
}

/// Where each line stands, without those that stand nearly everywhere.
fn positions<'b>(b: &[&'b str]) -> HashMap<&'b str, Vec<usize>> {
    let mut at: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, line) in b.iter().enumerate() {
        at.entry(line).or_default().push(index);
    }
    if b.len() >= POPULAR_FROM {
        at.retain(|_, lines| lines.len() <= b.len() / 100 + 1);
    }
    at
}

/// The equal blocks within two ranges, in order.
fn matching(
    a: &[&str],
    b: &[&str],
    at: &HashMap<&str, Vec<usize>>,
    in_a: Range<usize>,
    in_b: Range<usize>,
    blocks: &mut Vec<(usize, usize, usize)>,
) {
    let (i, j, length) = longest(a, b, at, in_a.clone(), in_b.clone());
    if length == 0 {
        return;
    }
    if in_a.start < i && in_b.start < j {
        matching(a, b, at, in_a.start..i, in_b.start..j, blocks);
    }
    blocks.push((i, j, length));
    if i + length < in_a.end && j + length < in_b.end {
        matching(a, b, at, i + length..in_a.end, j + length..in_b.end, blocks);
    }
}

/// The longest equal block, the first of those.
fn longest(
    a: &[&str],
    b: &[&str],
    at: &HashMap<&str, Vec<usize>>,
    in_a: Range<usize>,
    in_b: Range<usize>,
) -> (usize, usize, usize) {
    let (mut best_a, mut best_b, mut best) = (in_a.start, in_b.start, 0);
    let mut lengths: HashMap<usize, usize> = HashMap::new();
    for i in in_a.clone() {
        let mut next = HashMap::new();
        for &j in at.get(a[i]).into_iter().flatten() {
            if j < in_b.start {
                continue;
            }
            if j >= in_b.end {
                break;
            }
            let length = j
                .checked_sub(1)
                .and_then(|before| lengths.get(&before))
                .copied()
                .unwrap_or(0)
                + 1;
            next.insert(j, length);
            if length > best {
                (best_a, best_b, best) = (i + 1 - length, j + 1 - length, length);
            }
        }
        lengths = next;
    }
    // Popular lines on either side belong to the block, too.
    while best_a > in_a.start && best_b > in_b.start && a[best_a - 1] == b[best_b - 1] {
        (best_a, best_b, best) = (best_a - 1, best_b - 1, best + 1);
    }
    while best_a + best < in_a.end
        && best_b + best < in_b.end
        && a[best_a + best] == b[best_b + best]
    {
        best += 1;
    }
    (best_a, best_b, best)
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn hunks_of_far_changes_are_apart() {
        let old: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let mut new = old.clone();
        new[2] = "two".to_owned();
        new.insert(17, "more".to_owned());
        assert_eq!(
            unified(&old.join("\n"), &new.join("\n")),
            "@@ -1,6 +1,6 @@\n 0\n 1\n-2\n+two\n 3\n 4\n 5\n@@ -15,6 +15,7 @@\n 14\n 15\n 16\n+more\n 17\n 18\n 19\n"
        );
        assert_eq!(unified("a\nb", "a\nb"), "");
        assert_eq!(unified("a", "b"), "@@ -1 +1 @@\n-a\n+b\n");
    }
}
