//! The form in which a tuned encoder is kept: the numbers of its layers, one after the other, with
//! matrices in int8. Embeddings are not tuned, so they are not among them.

use std::ops::Range;

use onnx_facts::writer::{FLOAT, INT8};
use optimize::graph::Model;
use optimize::integers;
use optimize::tensors;

use crate::error::Error;
use crate::weights::{Encoder, Layer, Linear, Norm, Tensor};

impl Encoder {
    /// Returns the numbers of all layers, rounded to int8: the form in which a tuned encoder is kept.
    pub fn numbers(&self) -> Vec<u8> {
        let mut numbers = Vec::with_capacity(self.size());
        let float = |range: &Range<usize>, numbers: &mut Vec<u8>| numbers.extend(bytes_of(&self.values[range.clone()]));
        for layer in &self.layers {
            for linear in layer.linears() {
                let weight = &self.values[linear.weight.clone()];
                let scales = integers::columns(weight, linear.bias.len()).scales;
                numbers.extend(rounded(weight, &scales));
                numbers.extend(bytes_of(&scales));
                float(&linear.bias, &mut numbers);
            }
            for norm in layer.norms() {
                float(&norm.weight, &mut numbers);
                float(&norm.bias, &mut numbers);
            }
        }
        numbers
    }

    /// Returns the length of [`numbers`](Self::numbers).
    fn size(&self) -> usize {
        let linear = |linear: &Linear| linear.weight.len() + 8 * linear.bias.len();
        let norm = |norm: &Norm| 4 * (norm.weight.len() + norm.bias.len());
        let layer = |layer: &Layer| {
            layer.linears().into_iter().map(linear).sum::<usize>() + layer.norms().into_iter().map(norm).sum::<usize>()
        };
        self.layers.iter().map(layer).sum()
    }

    fn graph(&self, model: &[u8], numbers: &[u8]) -> Result<Vec<u8>, Error> {
        if numbers.len() != self.size() {
            return Err(Error::Unfit { found: numbers.len(), expected: self.size() });
        }
        let mut model = Model::parse(model).map_err(Error::NotBert)?;
        let mut set = |name: &str, kind: i64, dims: &[usize], content: &[u8]| {
            model.graph.tensors.insert(name.to_owned(), tensors::encode(name, kind, dims, content).into());
        };
        let mut rest = numbers;
        let mut take = |count: usize| {
            let (taken, others) = rest.split_at(count);
            rest = others;
            taken
        };
        for layer in &self.layers {
            for linear in layer.linears() {
                let columns = linear.bias.len();
                let dims = [linear.weight.len() / columns, columns];
                let (integers, scales, bias) = (take(linear.weight.len()), take(4 * columns), take(4 * columns));
                check_finite(&[scales, bias])?;
                match &linear.tensor {
                    Tensor::Float(name) => {
                        let scales: Vec<f32> = floats_of(scales).collect();
                        set(name, FLOAT, &dims, &bytes_of(&unrounded(integers, &scales)));
                    }
                    Tensor::Integer(name, scales_name) => {
                        set(name, INT8, &dims, integers);
                        set(scales_name, FLOAT, &dims[1..], scales);
                    }
                }
                set(&linear.bias_name, FLOAT, &dims[1..], bias);
            }
            for norm in layer.norms() {
                for (name, count) in norm.names.iter().zip([norm.weight.len(), norm.bias.len()]) {
                    let values = take(4 * count);
                    check_finite(&[values])?;
                    set(name, FLOAT, &[count], values);
                }
            }
        }
        Ok(model.encode())
    }
}

/// Returns a copy of an ONNX graph with the numbers of a tuned encoder. Matrices that are fp32 in
/// the graph stay fp32.
///
/// # Errors
/// As [`Encoder::read`]; `Unfit` or `Infinite` if the numbers are not those of such an encoder.
pub fn graph(model: &[u8], heads: usize, numbers: &[u8]) -> Result<Vec<u8>, Error> {
    Encoder::read(model, heads)?.graph(model, numbers)
}

/// Rounds a row-major matrix to int8 with a scale for each column. What rounding takes from a number
/// is added to the next one of its column.
///
/// The matrices were int8 before they were tuned, and few steps move a number by less than half of
/// the distance between two integers. Rounding each number for itself would undo that.
pub(crate) fn rounded(values: &[f32], scales: &[f32]) -> Vec<u8> {
    let mut carried = vec![0.0; scales.len()];
    let mut numbers = Vec::with_capacity(values.len());
    for row in values.chunks_exact(scales.len()) {
        for ((value, scale), carried) in row.iter().zip(scales).zip(&mut carried) {
            let exact = value / scale + *carried;
            let number = exact.round_ties_even().clamp(-127.0, 127.0);
            *carried = exact - number;
            numbers.push((number as i8).cast_unsigned());
        }
    }
    numbers
}

/// Returns the values of a row-major int8 matrix with a scale for each column.
pub(crate) fn unrounded(numbers: &[u8], scales: &[f32]) -> Vec<f32> {
    let value = |(number, scale): (&u8, &f32)| f32::from(number.cast_signed()) * scale;
    numbers.chunks_exact(scales.len()).flat_map(|row| row.iter().zip(scales).map(value)).collect()
}

fn check_finite(contents: &[&[u8]]) -> Result<(), Error> {
    let is_finite = contents.iter().all(|content| floats_of(content).all(f32::is_finite));
    if is_finite { Ok(()) } else { Err(Error::Infinite) }
}

fn floats_of(content: &[u8]) -> impl Iterator<Item = f32> {
    content.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number))
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
