//! The skill, served by the server itself (SEP-2640): a client that knows the extension needs no copied files. Its text is in
//! `skill/`.

use rmcp::ErrorData;
use rmcp::model::{
    ErrorCode, GetSkillResult, ListResourcesResult, ListSkillsResult, ReadResourceResult, Resource, ResourceContents,
    Skill, SkillFrontmatter, SkillResource, SkillResources,
};

/// Name, address and content of each file; the skill itself first.
const FILES: [(&str, &str, &str); 4] = [
    ("SKILL.md", "skill://local-model-predict/SKILL.md", include_str!("../../skill/SKILL.md")),
    (
        "references/tools.md",
        "skill://local-model-predict/references/tools.md",
        include_str!("../../skill/references/tools.md"),
    ),
    (
        "references/confidence.md",
        "skill://local-model-predict/references/confidence.md",
        include_str!("../../skill/references/confidence.md"),
    ),
    (
        "references/errors.md",
        "skill://local-model-predict/references/errors.md",
        include_str!("../../skill/references/errors.md"),
    ),
];

const MARKDOWN: &str = "text/markdown";

pub(super) fn resources() -> ListResourcesResult {
    let resource = |(name, uri, _): (&str, &str, &str)| Resource::new(uri, name).with_mime_type(MARKDOWN);
    let mut resources = FILES.map(resource).to_vec();
    // The skill itself goes by the name and the description that it gives itself.
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

/// The fields at the head of the skill.
fn fields() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES[0].2.lines().skip(1).take_while(|line| *line != "---").filter_map(|line| line.split_once(": "))
}

fn front_matter(name: &str) -> &'static str {
    fields().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

fn unknown(kind: &str, uri: &str) -> ErrorData {
    let known: Vec<&str> = FILES.iter().map(|(_, uri, _)| *uri).collect();
    ErrorData::resource_not_found(
        format!("no {kind} is called `{uri}`; known: {}", known.join(", ")),
        Some(serde_json::json!({ "uri": uri })),
    )
}
