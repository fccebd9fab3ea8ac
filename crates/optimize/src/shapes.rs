//! The numbers in the shapes and factors that exporters compute inside the graph.

use crate::constants::Constants;

/// Longest chain of operators between a factor and its numbers.
const MAX_STEPS: usize = 12;

pub(crate) struct Shapes<'c, 'g, 'a>(&'c Constants<'g, 'a>);

impl<'c, 'g, 'a> Shapes<'c, 'g, 'a> {
    pub(crate) fn new(constants: &'c Constants<'g, 'a>) -> Self {
        Self(constants)
    }

    /// Returns the elements of a shape, if their number is known: `None` for those that depend on
    /// the input.
    pub(crate) fn elements(&self, name: &str) -> Result<Option<Vec<Option<i64>>>, String> {
        if let Some(constant) = self.0.integers(name)? {
            return Ok(Some(constant.into_iter().map(Some).collect()));
        }
        let Some(node) = self.0.maker(name).filter(|node| node.is("Concat")) else { return Ok(None) };
        let mut elements = Vec::new();
        for part in &node.inputs {
            match self.0.integers(part)? {
                Some(constant) => elements.extend(constant.into_iter().map(Some)),
                None if self.is_one_element(part)? => elements.push(None),
                None => return Ok(None),
            }
        }
        Ok(Some(elements))
    }

    /// Returns whether a part of a shape is one dimension: `Unsqueeze` of a number, or `Shape` from
    /// one dimension to the next.
    fn is_one_element(&self, name: &str) -> Result<bool, String> {
        let Some(node) = self.0.maker(name) else { return Ok(false) };
        let is_next = node.is("Shape") && node.integer("end", 0)? == node.integer("start", 0)?.saturating_add(1);
        Ok(node.is("Unsqueeze") || is_next)
    }

    /// Returns the number that a value has in every run. `size` is the last dimension of what is
    /// multiplied.
    pub(crate) fn scalar(&self, name: &str, size: Option<i64>) -> Result<Option<f32>, String> {
        self.scalar_within(name, size, MAX_STEPS)
    }

    fn scalar_within(&self, name: &str, size: Option<i64>, steps: usize) -> Result<Option<f32>, String> {
        if let Some(weight) = self.0.weight(name)? {
            return Ok(match *weight.values {
                [number] => Some(number),
                _ => None,
            });
        }
        let (Some(node), Some(steps)) = (self.0.maker(name), steps.checked_sub(1)) else { return Ok(None) };
        let operand = |place: usize| match node.inputs.get(place) {
            Some(input) => self.scalar_within(input, size, steps),
            None => Ok(None),
        };
        match node.operator.as_str() {
            "Cast" | "Identity" | "Squeeze" => operand(0),
            "Sqrt" => Ok(operand(0)?.map(f32::sqrt)),
            "Div" => Ok(operand(0)?.zip(operand(1)?).map(|(a, b)| a / b)),
            // The last dimension of queries or keys that were split into heads.
            "Slice" | "Gather" => {
                let maker = |name: Option<&String>| name.and_then(|name| self.0.maker(name));
                let shape = maker(node.inputs.first()).filter(|node| node.is("Shape"));
                let split = shape.and_then(|shape| maker(shape.inputs.first()));
                let is_split = split.is_some_and(|node| node.is("Transpose") || node.is("Reshape"));
                let place = node.inputs.get(1).map(|input| self.0.integers(input)).transpose()?.flatten();
                let is_last = matches!(place.as_deref(), Some([-1 | 3]));
                Ok(size.filter(|_| is_split && is_last).map(|size| size as f32))
            }
            _ => Ok(None),
        }
    }
}
