//! A deserializer around another one that charges what is made to a [`Budget`].

use super::Budget;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use std::fmt;

/// A list that grows has twice the room of its items for a moment.
const GROWTH: usize = 2;

pub(super) struct Bounded<'b, T> {
    inner: T,
    budget: &'b Budget,
    /// What comes are the fields of a struct, whose room is the struct's own.
    fields: bool,
}

impl<'b, T> Bounded<'b, T> {
    pub(super) fn new(inner: T, budget: &'b Budget) -> Self {
        Self { inner, budget, fields: false }
    }

    fn of_fields(inner: T, budget: &'b Budget) -> Self {
        Self { inner, budget, fields: true }
    }
}

macro_rules! deserialize {
    ($($method:ident($($name:ident: $type:ty),*) $wrap:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            self.inner.$method($($name,)* Bounded::$wrap(visitor, self.budget))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    deserialize! {
        deserialize_any() new; deserialize_bool() new; deserialize_i8() new; deserialize_i16() new; deserialize_i32() new; deserialize_i64() new;
        deserialize_i128() new; deserialize_u8() new; deserialize_u16() new; deserialize_u32() new; deserialize_u64() new; deserialize_u128() new;
        deserialize_f32() new; deserialize_f64() new; deserialize_char() new; deserialize_str() new; deserialize_string() new; deserialize_bytes() new;
        deserialize_byte_buf() new; deserialize_option() new; deserialize_unit() new; deserialize_seq() new; deserialize_map() new;
        deserialize_identifier() new; deserialize_ignored_any() new;
        deserialize_unit_struct(name: &'static str) new; deserialize_newtype_struct(name: &'static str) new;
        deserialize_tuple(len: usize) new; deserialize_tuple_struct(name: &'static str, len: usize) new;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) of_fields;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) new;
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($type:ty);)*) => {
        $(fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

macro_rules! visit_charged {
    ($($method:ident($type:ty);)*) => {
        $(fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.budget.charge(value.len())?;
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(bool); visit_i8(i8); visit_i16(i16); visit_i32(i32); visit_i64(i64); visit_i128(i128); visit_u8(u8); visit_u16(u16); visit_u32(u32);
        visit_u64(u64); visit_u128(u128); visit_f32(f32); visit_f64(f64); visit_char(char);
    }

    visit_charged! {
        visit_str(&str); visit_borrowed_str(&'de str); visit_string(String); visit_bytes(&[u8]); visit_borrowed_bytes(&'de [u8]); visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Bounded::new(deserializer, self.budget))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Bounded::new(deserializer, self.budget))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Items { inner: items, budget: self.budget, count: 0, fields: self.fields })
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Items { inner: entries, budget: self.budget, count: 0, fields: self.fields })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Bounded::new(variant, self.budget))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Bounded::new(deserializer, self.budget))
    }
}

/// The items of a list or the entries of a map, each charged before it is made.
struct Items<'b, A> {
    inner: A,
    budget: &'b Budget,
    count: usize,
    fields: bool,
}

impl<A> Items<'_, A> {
    fn next<T, E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.count += 1;
        self.budget.count(self.count)?;
        if self.fields { Ok(()) } else { self.budget.charge(GROWTH * size_of::<T>()) }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.next::<S::Value, _>()?;
        self.inner.next_element_seed(Bounded::new(seed, self.budget))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.next::<S::Value, _>()?;
        self.inner.next_key_seed(Bounded::new(seed, self.budget))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        if !self.fields {
            self.budget.charge(GROWTH * size_of::<S::Value>())?;
        }
        self.inner.next_value_seed(Bounded::new(seed, self.budget))
    }
}

impl<'de, 'b, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(Bounded::new(seed, self.budget))?;
        Ok((value, Bounded::new(variant, self.budget)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Bounded::new(seed, self.budget))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Bounded::new(visitor, self.budget))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Bounded::of_fields(visitor, self.budget))
    }
}
