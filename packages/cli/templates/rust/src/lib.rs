mod millrace;

/// Counts the words of a text.
#[no_mangle]
pub extern "C" fn count_words() -> i32 {
    millrace::run(|input| {
        let text = String::from_utf8(input).map_err(|_| "the text is not UTF-8")?;
        let words = text.split_whitespace().count();
        if words == 0 {
            return Err("the text is empty".into());
        }
        millrace::log(millrace::Level::Info, &format!("{words} words"));
        Ok(format!("{{\"words\":{words}}}").into_bytes())
    })
}
