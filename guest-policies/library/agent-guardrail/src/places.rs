//! Paths and addresses as agents write them. What is not plain is refused: another program will read it again, perhaps
//! differently.

/// Whether an absolute path is `folder` or below, without `.` and `..` and empty steps.
pub(crate) fn is_inside(folder: &str, path: &str) -> bool {
    let Some(steps) = path.strip_prefix('/') else { return false };
    let is_plain = |step: &str| !matches!(step, "" | "." | "..") && !step.contains(['\\', '\0']);
    let below = path.strip_prefix(folder.trim_end_matches('/'));
    steps.split('/').all(is_plain) && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The host of an `https` address without user, port and anything unusual in the name; none otherwise.
pub(crate) fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    (!host.is_empty() && host.bytes().all(is_plain)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_do_not_climb_out() {
        for path in ["/work", "/work/a", "/work/a/b.txt", "/work/..a"] {
            assert!(is_inside("/work", path) && is_inside("/work/", path), "{path}");
        }
        for path in
            ["/", "work", "/worker", "/work/../etc", "/work/./a", "/work//a", "/work/", "/work/a\\..\\b", ""]
        {
            assert!(!is_inside("/work", path), "{path}");
        }
        assert!(is_inside("/", "/etc"));
    }

    #[test]
    fn hosts_are_plain_names() {
        assert_eq!(host("https://api.example.com/v1?q=1"), Some("api.example.com"));
        assert_eq!(host("https://api.example.com#x"), Some("api.example.com"));
        for url in [
            "http://api.example.com/",
            "https://api.example.com@evil.example/",
            "https://api.example.com:8443/",
            "https://api.example.com\\@evil.example/",
            "https://API.example.com/",
            "https:///",
            "https://",
            "//api.example.com",
        ] {
            assert_eq!(host(url), None, "{url}");
        }
    }
}
