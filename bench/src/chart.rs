//! Chart: Stockroom's ratios to the others as an image of bars, for light and dark pages.

use std::fmt::Write as _;

use crate::figures::{Aspect, Ratio};

const WIDTH: f64 = 820.0;
/// Where names end and bars may begin.
const LEFT: f64 = 280.0;
/// Room for the number behind the longest bar.
const RIGHT: f64 = 70.0;
const HEAD: f64 = 72.0;
const BAR: f64 = 12.0;
/// From one pair of bars to the next.
const STEP: f64 = 36.0;

/// Colours that can be read on white and on what browsers and GitHub show when they are dark.
const STYLE: &str = "
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }
    .title { font-weight: 600; font-size: 15px; }
    .speed { fill: #0969da; } .processor { fill: #bc4c00; }
    .even { stroke: #59636e; }
    @media (prefers-color-scheme: dark) {
        text { fill: #f0f6fc; }
        .speed { fill: #4493f8; } .processor { fill: #db6d28; }
        .even { stroke: #9198a1; }
    }
";

/// Bars for speed and processor time, one pair for each work and peer. Each bar begins where both are even; its
/// length is the logarithm of the ratio, so that twice and half are as long.
pub(crate) fn svg(ratios: &[Ratio]) -> String {
    let pairs = pairs(ratios);
    let (low, high) = bounds(ratios);
    let unit = (WIDTH - LEFT - RIGHT) / (high - low);
    let even = LEFT - low * unit;
    let height = HEAD + STEP * pairs.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">
<title>How many times as fast as others Stockroom is, and how many times as little processor time it takes</title>
<style>{STYLE}</style>
<text class=\"title\" x=\"12\" y=\"24\">Stockroom beside others, on the same machine in the same run</text>
<rect class=\"speed\" x=\"12\" y=\"38\" width=\"12\" height=\"12\"/><text x=\"30\" y=\"49\">times as fast</text>
<rect class=\"processor\" x=\"132\" y=\"38\" width=\"12\" height=\"12\"/><text x=\"150\" y=\"49\">times as little processor time</text>
<text x=\"{even:.1}\" y=\"62\" text-anchor=\"middle\">equal</text>
<line class=\"even\" x1=\"{even:.1}\" x2=\"{even:.1}\" y1=\"68\" y2=\"{height}\"/>
"
    );
    for (row, (work, peer, own)) in pairs.iter().enumerate() {
        let top = HEAD + STEP * row as f64 + 4.0;
        for (name, y) in [
            (work.to_string(), top + 11.0),
            (format!("beside {peer}"), top + 25.0),
        ] {
            let name = escaped(&name);
            let _ = writeln!(svg, "<text x=\"12\" y=\"{y}\">{name}</text>");
        }
        for ratio in own {
            let (class, top) = match ratio.aspect {
                Aspect::Speed => ("speed", top),
                _ => ("processor", top + BAR + 1.0),
            };
            svg += &bar(class, even, ratio.ratio.log2() * unit, top, ratio.ratio);
        }
    }
    svg + "</svg>\n"
}

/// A bar to the right of where both are even or to the left, with its number at its end.
fn bar(class: &str, even: f64, length: f64, top: f64, ratio: f64) -> String {
    let (from, width) = (even + length.min(0.0), length.abs().max(1.0));
    let (at, anchor) = match length < 0.0 {
        true => (from - 5.0, "end"),
        false => (from + width + 5.0, "start"),
    };
    let baseline = top + BAR - 1.0;
    format!(
        "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\"/>\
         <text x=\"{at:.1}\" y=\"{baseline:.1}\" text-anchor=\"{anchor}\">{ratio:.2}</text>\n"
    )
}

/// The ratios of one work and peer beside each other, in the order in which they come.
fn pairs(ratios: &[Ratio]) -> Vec<(&str, &str, Vec<&Ratio>)> {
    let mut pairs: Vec<(&str, &str, Vec<&Ratio>)> = Vec::new();
    for ratio in shown(ratios) {
        let (work, peer) = (ratio.work.as_str(), ratio.peer.as_str());
        match pairs.iter_mut().find(|it| (it.0, it.1) == (work, peer)) {
            Some((_, _, own)) => own.push(ratio),
            None => pairs.push((work, peer, vec![ratio])),
        }
    }
    pairs
}

/// Memory is no bar: it is what a server may take, not how much it does.
fn shown(ratios: &[Ratio]) -> impl Iterator<Item = &Ratio> {
    ratios.iter().filter(|it| it.aspect != Aspect::Memory)
}

/// The logarithms of the smallest and the largest ratio, at least those of half and twice.
fn bounds(ratios: &[Ratio]) -> (f64, f64) {
    shown(ratios).fold((-1.0, 1.0), |(low, high), it| {
        (it.ratio.log2().min(low), it.ratio.log2().max(high))
    })
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(work: &str, peer: &str, aspect: Aspect, ratio: f64) -> Ratio {
        Ratio {
            work: work.to_owned(),
            peer: peer.to_owned(),
            aspect,
            ratio,
        }
    }

    /// The number behind `attribute` in each rectangle of a class that is a bar.
    fn bars(svg: &str, class: &str, attribute: &str) -> Vec<f64> {
        let lines = svg.lines().filter(|it| it.ends_with("</text>"));
        lines
            .filter_map(|it| it.strip_prefix(&format!("<rect class=\"{class}\"")))
            .filter(|it| it.contains("height=\"12\"/><text") && !it.contains("times as"))
            .map(|it| {
                let (_, rest) = it.split_once(&format!(" {attribute}=\"")).unwrap();
                rest.split_once('"').unwrap().0.parse().unwrap()
            })
            .collect()
    }

    #[test]
    fn twice_and_half_are_as_long_on_either_side() {
        let svg = svg(&[
            ratio("get", "express", Aspect::Speed, 2.0),
            ratio("get", "nginx", Aspect::Speed, 0.5),
            ratio("get", "nginx", Aspect::Processor, 4.0),
            ratio("get", "nginx", Aspect::Memory, 64.0),
        ]);
        let widths = bars(&svg, "speed", "width");
        assert_eq!(widths[0], widths[1], "{svg}");
        let from = bars(&svg, "speed", "x");
        assert!((from[1] + widths[1] - from[0]).abs() < 0.2, "{svg}");
        let processor = bars(&svg, "processor", "width");
        assert!((processor[0] - 2.0 * widths[0]).abs() < 0.2, "{svg}");
        // Two names, three bars with their numbers; memory is not among them.
        assert_eq!(svg.matches(">beside ").count(), 2, "{svg}");
        assert!(svg.contains(">4.00<") && !svg.contains("64.00"), "{svg}");
    }

    #[test]
    fn everything_is_inside_and_every_tag_is_closed() {
        let svg = svg(&[
            ratio("a < b & c", "express", Aspect::Speed, 300.0),
            ratio("get", "nginx", Aspect::Speed, 0.001),
        ]);
        assert!(svg.contains(">a &lt; b &amp; c</text>"), "{svg}");
        let (from, width) = (bars(&svg, "speed", "x"), bars(&svg, "speed", "width"));
        for (from, width) in from.iter().zip(&width) {
            assert!(
                *from >= LEFT - 0.1 && from + width <= WIDTH - RIGHT + 0.1,
                "{svg}"
            );
        }
        for tag in ["text", "style", "title", "svg"] {
            let opened = svg.matches(&format!("<{tag}")).count();
            assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert_eq!(svg.matches("<rect").count(), svg.matches("/><text").count());
    }

    #[test]
    fn no_ratios_are_an_empty_chart() {
        let svg = svg(&[]);
        assert!(
            svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
            "{svg}"
        );
        assert!(bars(&svg, "speed", "x").is_empty());
    }
}
