//! From fp32 numbers to 8-bit ones and their scales, with the numbers of ONNX Runtime's quantizer
//! (`quantize_dynamic` of onnxruntime 1.31 with `QInt8` and `per_channel`).

/// A matrix in int8. A column of zeros has the scale 1.
pub struct Columns {
    /// Row-major, each -127 to 127.
    pub values: Vec<i8>,
    /// One per column; positive.
    pub scales: Vec<f32>,
}

/// Quantizes a row-major matrix symmetrically, with a scale for each column.
pub fn columns(values: &[f32], columns: usize) -> Columns {
    let mut largest = vec![0f32; columns];
    for row in values.chunks_exact(columns) {
        largest.iter_mut().zip(row).for_each(|(largest, value)| *largest = largest.max(value.abs()));
    }
    let scales: Vec<f32> = largest.into_iter().map(|largest| scale(2.0 * f64::from(largest) / 254.0) as f32).collect();
    let quantize = |(value, scale): (&f32, &f32)| (value / scale).round_ties_even() as i8;
    let values = values.chunks_exact(columns).flat_map(|row| row.iter().zip(&scales).map(quantize)).collect();
    Columns { values, scales }
}

/// A table in uint8: a value is `scale * (number - zero)`.
pub struct Table {
    pub values: Vec<u8>,
    pub scale: f32,
    pub zero: u8,
}

/// Quantizes a table with one scale. Zero is represented exactly.
pub fn table(values: &[f32]) -> Table {
    let (least, largest) =
        values.iter().fold((0f32, 0f32), |(least, most), &value| (least.min(value), most.max(value)));
    let range = (f64::from(largest) - f64::from(least)) / 255.0;
    let scale = scale(range);
    let zero = if scale == range { (-f64::from(least) / scale).round_ties_even() as u8 } else { 0 };
    let scale = scale as f32;
    let quantize = |value: &f32| ((value / scale).round_ties_even() + f32::from(zero)) as u8;
    Table { values: values.iter().map(quantize).collect(), scale, zero }
}

/// Returns 1 instead of a scale that fp32 cannot represent in full precision.
fn scale(scale: f64) -> f64 {
    if scale < f64::from(f32::MIN_POSITIVE) { 1.0 } else { scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_has_its_own_scale_and_keeps_its_largest_number() {
        let Columns { values, scales } = columns(&[1.0, 0.0, -10.0, -0.5, 0.0, 25.4], 3);
        assert_eq!(values, [127, 0, -50, -64, 0, 127]);
        assert_eq!(scales, [1.0 / 127.0, 1.0, 0.2]);
    }

    #[test]
    fn a_table_represents_zero_exactly() {
        let Table { values, scale, zero } = table(&[-1.0, 0.0, 1.55]);
        assert_eq!((values.as_slice(), scale, zero), (&[0, 100, 255][..], 0.01, 100));
        let Table { values, scale, zero } = table(&[0.0, 1e-44]);
        assert_eq!((values.as_slice(), scale, zero), (&[0, 0][..], 1.0, 0));
    }
}
