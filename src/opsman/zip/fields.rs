//! Numbers of a zip's headers.

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Plain size, packed size and offset, those taken from the extra field 1 that do not fit.
pub(super) fn wide(
    extra: &[u8],
    plain: Option<u32>,
    packed: u32,
    offset: Option<u32>,
) -> (u64, u64, u64) {
    let mut field: &[u8] = &[];
    let mut rest = extra;
    while let (Some(kind), Some(length)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let end = 4 + usize::from(length);
        let Some(inner) = rest.get(4..end) else { break };
        if kind == 1 {
            field = inner;
        }
        rest = &rest[end..];
    }
    let mut value = |narrow: u32| {
        if narrow != u32::MAX {
            return u64::from(narrow);
        }
        let found = u64_at(field, 0).unwrap_or(u64::from(u32::MAX));
        field = field.get(8..).unwrap_or_default();
        found
    };
    let plain = value(plain.unwrap_or_default());
    let packed = value(packed);
    (plain, packed, value(offset.unwrap_or_default()))
}
