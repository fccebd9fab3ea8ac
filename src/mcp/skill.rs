//! The skill as MCP resources and through the skills extension (SEP-2640). Its text is in `skill/`.

use rmcp::ErrorData;
use rmcp::model::{
    ErrorCode, GetSkillResult, ListResourcesResult, ListSkillsResult, ReadResourceResult, Resource, ResourceContents,
    Skill, SkillFrontmatter, SkillResource, SkillResources,
};

macro_rules! file {
    ($name:literal) => {
        ($name, concat!("skill://local-model-predict/", $name), include_str!(concat!("../../skill/", $name)))
    };
}

/// Name, URI and content of each file. The first is the skill itself.
const FILES: [(&str, &str, &str); 4] =
    [file!("SKILL.md"), file!("references/tools.md"), file!("references/confidence.md"), file!("references/errors.md")];

const MARKDOWN: &str = "text/markdown";

pub(super) fn resources() -> ListResourcesResult {
    let resource = |(name, uri, _): (&str, &str, &str)| Resource::new(uri, name).with_mime_type(MARKDOWN);
    let mut resources = FILES.map(resource).to_vec();
    // Name and description of the skill come from its front matter.
    let skill = Resource::new(FILES[0].1, front_matter("name"));
    resources[0] = skill.with_description(front_matter("description")).with_mime_type(MARKDOWN);
    ListResourcesResult::with_all_items(resources)
}

pub(super) fn read(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let found = FILES.iter().find(|(_, known, _)| *known == uri);
    let (_, uri, content) = found.ok_or_else(|| unknown("resource", uri))?;
    Ok(ReadResourceResult::new(vec![ResourceContents::text(*content, *uri).with_mime_type(MARKDOWN)]))
}

pub(super) fn skills() -> ListSkillsResult {
    ListSkillsResult::with_all_items(vec![skill()])
}

pub(super) fn get(uri: &str) -> Result<GetSkillResult, ErrorData> {
    if uri == FILES[0].1 {
        Ok(GetSkillResult::new(skill()))
    } else {
        Err(ErrorData { code: ErrorCode::INVALID_PARAMS, ..unknown("skill", uri) })
    }
}

fn skill() -> Skill {
    let files = FILES.map(|(_, uri, content)| SkillResource::from_bytes(uri, content.as_bytes()));
    let named = SkillFrontmatter::new(front_matter("name"), front_matter("description"));
    let rest = fields().filter(|(name, _)| !matches!(*name, "name" | "description"));
    let frontmatter = rest.fold(named, |frontmatter, (name, value)| frontmatter.with_field(name, value));
    Skill::new(FILES[0].1, frontmatter, SkillResources::Files(files.to_vec()))
}

/// Returns the fields of the skill's front matter.
fn fields() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES[0].2.lines().skip(1).take_while(|line| *line != "---").filter_map(|line| line.split_once(": "))
}

fn front_matter(name: &str) -> &'static str {
    fields().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

fn unknown(kind: &str, uri: &str) -> ErrorData {
    let known: Vec<&str> = FILES.iter().map(|(_, uri, _)| *uri).collect();
    ErrorData::resource_not_found(
        format!("unknown {kind} `{uri}`; known: {}", known.join(", ")),
        Some(serde_json::json!({ "uri": uri })),
    )
}
