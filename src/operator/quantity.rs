//! Amounts as Kubernetes writes them.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// An amount in its unit: bytes, CPUs, GPUs. Kubernetes writes digits, perhaps with a fraction, and a suffix. None of
/// what it cannot read, and of less than nothing.
pub(super) fn value(quantity: &Quantity) -> Option<f64> {
    let text = quantity.0.strip_prefix('+').unwrap_or(&quantity.0);
    let suffix_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(suffix_at);
    let number: f64 = number.parse().ok()?;
    let scale = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024_f64,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_writes_them() {
        for (text, expected) in [
            ("1Ki", 1024.0),
            ("1.5Gi", 1_610_612_736.0),
            ("2k", 2000.0),
            ("1e3", 1000.0),
            ("7", 7.0),
            ("+7", 7.0),
            ("100m", 0.1),
            ("2u", 2e-6),
        ] {
            assert_eq!(value(&Quantity(text.to_owned())), Some(expected), "{text}");
        }
        for text in ["", "Gi", "1Xi", "-1"] {
            assert_eq!(value(&Quantity(text.to_owned())), None, "{text}");
        }
    }
}
