//! Models.

use stockroom_catalog::{
    CatalogError, Conflict, ModelFilter, ModelPatch, NewModel, Page, VisibleTo,
};
use stockroom_domain::{ModelId, ModelStatus, Money, ObjectState};

use crate::lab::{Lab, RACERS, on_both_databases, race, subject};
use crate::{assert_conflict, assert_not_found};

on_both_databases!(
    a_model_reads_back_as_it_was_written,
    hostile_texts_are_only_texts,
    a_text_with_nul_is_refused,
    a_patch_changes_what_it_names,
    patches_of_different_values_are_all_kept,
    a_list_shows_what_its_reader_may_see,
    a_search_finds_each_word_in_any_case,
    signs_of_patterns_mean_themselves,
    models_are_listed_newest_first_in_pages,
    a_deleted_model_takes_its_assets_along,
);

fn price(amount: i64) -> Money {
    Money::new(amount, "EUR".parse().unwrap()).unwrap()
}

fn full(lab: &Lab) -> NewModel {
    NewModel {
        title: "Schild Ü".to_owned(),
        description: Some("Zwei\nZeilen".to_owned()),
        license: Some("CC BY 4.0".to_owned()),
        tags: vec!["shield".to_owned(), "a,b".to_owned()],
        price: Some(price(1250)),
        ..lab.new_model("kaethe")
    }
}

async fn a_model_reads_back_as_it_was_written(lab: &Lab) {
    let new = full(lab);
    let row = lab.catalog.insert_model(new.clone()).await.unwrap();
    assert_eq!(
        lab.catalog.find_model(new.id).await.unwrap(),
        Some(row.clone())
    );
    assert_eq!(
        (row.title, row.tags, row.price),
        (new.title.clone(), new.tags.clone(), new.price)
    );
    assert_conflict!(lab.catalog.insert_model(new).await, Conflict::Id);
    let unknown = lab.id(ModelId::generate);
    assert_eq!(lab.catalog.find_model(unknown).await.unwrap(), None);
}

async fn hostile_texts_are_only_texts(lab: &Lab) {
    for text in [
        "'); DROP TABLE models; --",
        "\"quoted\" `back` $1 ?1 :name %s {}",
        "\\' \\\\ \\0 \u{1} \u{fffe} \u{10ffff}",
        "\u{202e}gnp.exe",
        "",
    ] {
        let new = NewModel {
            title: text.to_owned(),
            description: Some(text.to_owned()),
            tags: vec![text.to_owned()],
            ..lab.new_model("kaethe")
        };
        lab.catalog.insert_model(new.clone()).await.unwrap();
        let row = lab.catalog.find_model(new.id).await.unwrap().unwrap();
        assert_eq!(row.title, text);
        assert_eq!(row.description.as_deref(), Some(text));
        assert_eq!(row.tags, [text]);
    }
}

async fn a_text_with_nul_is_refused(lab: &Lab) {
    let model = lab.model("kaethe").await;
    let bad = || Some("a\0b".to_owned());
    for patch in [
        ModelPatch {
            title: bad(),
            ..ModelPatch::default()
        },
        ModelPatch {
            description: Some(bad()),
            ..ModelPatch::default()
        },
        ModelPatch {
            license: Some(bad()),
            ..ModelPatch::default()
        },
        ModelPatch {
            tags: bad().map(|tag| vec![tag]),
            ..ModelPatch::default()
        },
    ] {
        let error = lab
            .catalog
            .update_model(model.id, patch, lab.now())
            .await
            .unwrap_err();
        assert!(
            matches!(error, CatalogError::InvalidText { .. }),
            "{error:?}"
        );
    }
    assert_eq!(lab.catalog.find_model(model.id).await.unwrap(), Some(model));
    let filter = ModelFilter {
        q: bad(),
        ..ModelFilter::default()
    };
    let error = lab
        .catalog
        .list_models(&filter, &Page::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, CatalogError::InvalidText { .. }),
        "{error:?}"
    );
}

async fn a_patch_changes_what_it_names(lab: &Lab) {
    let before = lab.catalog.insert_model(full(lab)).await.unwrap();
    let now = lab.now();
    let patch = ModelPatch {
        title: Some("Schild".to_owned()),
        description: Some(None),
        price: Some(None),
        status: Some(ModelStatus::Draft),
        ..ModelPatch::default()
    };
    let after = lab
        .catalog
        .update_model(before.id, patch, now)
        .await
        .unwrap();
    assert_eq!(
        lab.catalog.find_model(before.id).await.unwrap(),
        Some(after.clone())
    );
    assert_eq!(after.title, "Schild");
    assert_eq!((after.description, after.price), (None, None));
    assert_eq!((after.license, after.tags), (before.license, before.tags));
    assert_eq!(
        (after.created_at, after.updated_at),
        (before.created_at, now)
    );
    let unknown = lab.id(ModelId::generate);
    let nothing = ModelPatch::default();
    assert_not_found!(lab.catalog.update_model(unknown, nothing, now).await, Model);
}

async fn patches_of_different_values_are_all_kept(lab: &Lab) {
    let model = lab.model("kaethe").await;
    let (id, now) = (model.id, lab.now());
    let outcomes = race(|n| {
        let catalog = lab.catalog.clone();
        let patch = match n % 4 {
            0 => ModelPatch {
                title: Some("new".to_owned()),
                ..ModelPatch::default()
            },
            1 => ModelPatch {
                license: Some(Some("new".to_owned())),
                ..ModelPatch::default()
            },
            2 => ModelPatch {
                price: Some(Some(price(1))),
                ..ModelPatch::default()
            },
            _ => ModelPatch {
                tags: Some(vec!["new".to_owned()]),
                ..ModelPatch::default()
            },
        };
        async move { catalog.update_model(id, patch, now).await }
    })
    .await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let row = lab.catalog.find_model(id).await.unwrap().unwrap();
    assert_eq!(
        (row.title.as_str(), row.license.as_deref()),
        ("new", Some("new"))
    );
    assert_eq!(
        (row.price, row.tags),
        (Some(price(1)), vec!["new".to_owned()])
    );
}

async fn a_list_shows_what_its_reader_may_see(lab: &Lab) {
    let draft = |artist| NewModel {
        status: ModelStatus::Draft,
        ..lab.new_model(artist)
    };
    let mine = lab.catalog.insert_model(draft("me")).await.unwrap().id;
    let theirs = lab.catalog.insert_model(draft("them")).await.unwrap().id;
    let public = lab.model("them").await.id;
    let deleted = lab.model("them").await.id;
    lab.catalog
        .retire_model(deleted, lab.now(), lab.after(60))
        .await
        .unwrap();

    let me = VisibleTo::Subject(subject("me"));
    let them = Some(subject("them"));
    let cases = [
        (VisibleTo::Everyone, None, None, vec![public]),
        (me.clone(), None, None, vec![public, mine]),
        (VisibleTo::All, None, None, vec![public, theirs, mine]),
        (
            VisibleTo::All,
            None,
            Some(ModelStatus::Draft),
            vec![theirs, mine],
        ),
        (VisibleTo::All, them.clone(), None, vec![public, theirs]),
        (me.clone(), them.clone(), None, vec![public]),
        (me, None, Some(ModelStatus::Draft), vec![mine]),
        (VisibleTo::Everyone, them, Some(ModelStatus::Draft), vec![]),
    ];
    for (visible_to, artist, status, expected) in cases {
        let filter = ModelFilter {
            artist,
            status,
            q: None,
            visible_to,
        };
        let found = lab
            .catalog
            .list_models(&filter, &Page::default())
            .await
            .unwrap();
        let ids: Vec<_> = found.items.iter().map(|model| model.id).collect();
        assert_eq!(ids, expected, "{filter:?}");
        assert_eq!(found.next, None);
    }
}

async fn finds(lab: &Lab, q: &str) -> usize {
    let filter = ModelFilter {
        q: Some(q.to_owned()),
        ..ModelFilter::default()
    };
    lab.catalog
        .list_models(&filter, &Page::default())
        .await
        .unwrap()
        .items
        .len()
}

async fn a_search_finds_each_word_in_any_case(lab: &Lab) {
    let id = lab.catalog.insert_model(full(lab)).await.unwrap().id;
    for q in [
        "schild ü",
        "SCHILD Ü",
        "zeilen ZWEI",
        "a,b",
        "  shield  ",
        "hil",
        "\t",
    ] {
        assert_eq!(finds(lab, q).await, 1, "{q:?}");
    }
    for q in [
        "schild missing",
        "u\u{308}",
        "schildü",
        &"z".repeat(100_000),
    ] {
        assert_eq!(finds(lab, q).await, 0, "{q:?}");
    }
    let patch = ModelPatch {
        title: Some("Helm".to_owned()),
        ..ModelPatch::default()
    };
    lab.catalog
        .update_model(id, patch, lab.now())
        .await
        .unwrap();
    assert_eq!(
        (finds(lab, "schild").await, finds(lab, "helm").await),
        (0, 1)
    );
}

async fn signs_of_patterns_mean_themselves(lab: &Lab) {
    let new = NewModel {
        title: "100% a_b c\\d 'e'".to_owned(),
        ..lab.new_model("kaethe")
    };
    lab.catalog.insert_model(new).await.unwrap();
    for q in ["100%", "a_b", "c\\d", "'e'", "%", "_", "\\"] {
        assert_eq!(finds(lab, q).await, 1, "{q:?}");
    }
    for q in ["1%0", "axb", "a%b", "c\\\\d", "_0", "\\%", "' OR '1'='1"] {
        assert_eq!(finds(lab, q).await, 0, "{q:?}");
    }
}

async fn models_are_listed_newest_first_in_pages(lab: &Lab) {
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(lab.model("kaethe").await.id);
    }
    ids.reverse();
    let filter = ModelFilter {
        artist: Some(subject("kaethe")),
        ..ModelFilter::default()
    };
    let mut page = Page::first(3);
    let mut seen = Vec::new();
    for expected in [3, 3, 1] {
        let found = lab.catalog.list_models(&filter, &page).await.unwrap();
        assert_eq!(found.items.len(), expected);
        seen.extend(found.items.iter().map(|model| model.id));
        page.after = found.next;
    }
    assert_eq!((seen, page.after), (ids, None));
    let none = Page::first(0);
    assert_eq!(
        lab.catalog
            .list_models(&filter, &none)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
}

async fn a_deleted_model_takes_its_assets_along(lab: &Lab) {
    let model = lab.model("kaethe").await;
    let asset = lab.asset(model.id, "a.stl").await;
    let other = lab.asset(lab.model("kaethe").await.id, "a.stl").await;
    let (now, retire_after) = (lab.now(), lab.after(60));
    let outcomes = race(|_| {
        let (catalog, id) = (lab.catalog.clone(), model.id);
        async move { catalog.retire_model(id, now, retire_after).await }
    })
    .await;
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!((won, outcomes.len()), (1, RACERS as usize));

    assert_eq!(lab.catalog.find_model(model.id).await.unwrap(), None);
    assert_eq!(lab.catalog.find_asset(asset.id).await.unwrap(), None);
    let page = Page::default();
    assert!(
        lab.catalog
            .list_assets(model.id, true, &page)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        lab.catalog
            .find_object(&asset.object.key)
            .await
            .unwrap()
            .is_none()
    );
    let object = lab
        .catalog
        .find_object_by_id(asset.object.id)
        .await
        .unwrap()
        .unwrap()
        .object;
    assert_eq!(object.state, ObjectState::Retiring);
    assert_eq!(object.retire_after, Some(retire_after));
    assert!(lab.catalog.find_asset(other.id).await.unwrap().is_some());
    let patch = ModelPatch::default();
    assert_not_found!(lab.catalog.update_model(model.id, patch, now).await, Model);
}
