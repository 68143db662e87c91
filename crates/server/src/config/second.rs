//! Another bucket than that of the mode, whose settings stand in a file of their own.

use super::problem::fault;
use super::reader::{Noted, Reader};
use super::s3::{self, S3Settings};
use super::variable;

/// Reads the file that `S3_SECOND_FILE` names, if it names one. `main` is the bucket of the mode.
pub(super) fn read(
    reader: &mut Reader<'_>,
    main: Option<&S3Settings>,
) -> Result<Option<S3Settings>, Noted> {
    let path = reader.read_optional(&variable::S3_SECOND_FILE, |text| Ok(text.to_owned()))?;
    let Some(path) = path else { return Ok(None) };
    let mut inner = reader.of_file(
        &variable::S3_SECOND_FILE,
        path.as_ref(),
        &variable::OF_A_BUCKET,
    )?;
    let settings = s3::read(&mut inner, Some("a second bucket needs it"));
    let checked = settings.and_then(|settings| distinct(&mut inner, settings, main));
    reader.absorb(inner);
    checked
}

/// One bucket under two names would be emptied when it is freed under one of them, and two under
/// one name could not be told apart.
fn distinct(
    inner: &mut Reader<'_>,
    second: Option<S3Settings>,
    main: Option<&S3Settings>,
) -> Result<Option<S3Settings>, Noted> {
    let (Some(second), Some(main)) = (&second, main) else {
        return Ok(second);
    };
    if second.endpoint == main.endpoint && second.bucket == main.bucket {
        let same = fault(
            "is the bucket of the other settings as well",
            "Name another bucket, or remove S3_SECOND_FILE",
        );
        return Err(inner.problem(&variable::S3_BUCKET, same));
    }
    if second.name == main.name {
        let fix = "Give this bucket a name of its own here, such as r2, and keep it as long as the \
                   bucket is used";
        let same = fault("is the name of the other bucket as well", fix);
        return Err(inner.problem(&variable::S3_STORE_NAME, same));
    }
    Ok(Some(second.clone()))
}
